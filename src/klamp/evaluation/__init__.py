"""Trained policies: acting, evaluation, films, export, comparison."""
