"""Policies and critics as Equinox modules, and the flat vector θ that the updates work on.

A module takes ``Inputs`` with one row per sample and returns one row per sample. Layers multiply
whole batches; nothing is vmapped over samples.
"""

from klamp.networks.actor_critic import Actor as Actor
from klamp.networks.actor_critic import ActorCritic as ActorCritic
from klamp.networks.actor_critic import Critic as Critic
from klamp.networks.actor_critic import NoEncoder as NoEncoder
from klamp.networks.actor_critic import Trunk as Trunk
from klamp.networks.build import NetworkBuilder as NetworkBuilder
from klamp.networks.build import build_network as build_network
from klamp.networks.build import check_network as check_network
from klamp.networks.flat_model import Model as Model
from klamp.networks.flat_model import flatten as flatten
from klamp.networks.heads import CategoricalHead as CategoricalHead
from klamp.networks.heads import GaussianHead as GaussianHead
from klamp.networks.heads import action_head as action_head
from klamp.networks.layers import ACTIVATIONS as ACTIVATIONS
from klamp.networks.layers import CNN as CNN
from klamp.networks.layers import MLP as MLP
from klamp.networks.layers import Dense as Dense
from klamp.networks.layers import Features as Features
from klamp.networks.layers import as_float as as_float
from klamp.networks.recurrent import Recurrent as Recurrent
from klamp.networks.recurrent import RecurrentEncoder as RecurrentEncoder
