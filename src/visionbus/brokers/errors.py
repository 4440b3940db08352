"""The errors of the brokers that we start, one tree.

BrokerError
├── InstallError   Java or the broker's files are missing, and cannot be fetched
├── StartError     a broker's process cannot start, or has ended; the text has the last lines of its log
├── PortError      the port that a broker was to have is taken (also a StartError)
└── DataError      a folder that a broker cannot use for its data (also a ValueError)
"""

from __future__ import annotations


class BrokerError(Exception):
    """Any failure of a broker that was to run on this machine."""


class InstallError(BrokerError):
    """What a broker needs is not there and cannot be fetched; the text names the cure."""


class StartError(BrokerError):
    """A broker's process cannot start, or has ended by itself; the text has the last lines of its log."""


class PortError(StartError):
    """Another program has the port that a broker was to have."""


class DataError(BrokerError, ValueError):
    """A folder cannot be used for the data of this broker; the text names the cure."""
