"""Environments: how they are made, stepped and checked. Only this room calls Gymnasium's makers."""
