"""The lab: stock Debian kernels in QEMU, with systemd and the real programs, driven from Python.

    with Guest(kernel="6.12", tier="lsm") as guest:
        result = guest.run("systemctl is-active nbspd")
"""

from .errors import LabError
from .guest import TIERS, Guest, Result
from .kernels import KERNELS

__all__ = ["Guest", "KERNELS", "LabError", "Result", "TIERS"]
