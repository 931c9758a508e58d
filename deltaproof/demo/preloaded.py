"""What `Nursery` imports once, so that a command which is forked from it finds it there. Nothing else imports this."""

from __future__ import annotations

import gc

import peft
import transformers
import web3
from transformers.models.auto import modeling_auto, tokenization_auto
from transformers.models.bert import modeling_bert

import deltaproof.api.living
import deltaproof.auditor.auditing
import deltaproof.cli.audit
import deltaproof.cli.chain
import deltaproof.cli.history
import deltaproof.cli.roles
import deltaproof.cli.task
import deltaproof.demo.cheat
import deltaproof.pages.data
import deltaproof.sponsor.files
import deltaproof.sponsor.life
import deltaproof.sponsor.results
import trainer.life
import verifier.life

__all__ = ["LIBRARIES"]

LIBRARIES = (
    deltaproof, modeling_auto, modeling_bert, peft, tokenization_auto, trainer, transformers, verifier, web3,
)  # fmt: skip
"""Loaded, whatever a command needs of them."""

# What is here stays: no collection of a fork's has to look at it, and so none copies its pages.
gc.collect()
gc.freeze()
