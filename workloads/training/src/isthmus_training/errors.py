"""What can end a run, each with the exit status that tells an operator whose turn it is."""

from __future__ import annotations


class TrainingError(Exception):
    """A run that can't go on; the message says what is wrong and what to do."""

    status = 1


class BadSettings(TrainingError):
    """An environment variable is missing or wrong."""

    status = 2


class BadData(TrainingError):
    """The data set breaks the contract in acquire.py."""

    status = 3


class BadModel(TrainingError):
    """The model misses the threshold, or its ONNX form does not agree with it."""

    status = 4


class StoreFailure(TrainingError):
    """The object store refused, or did not come back in time."""

    status = 5
