"""The one exception of the lab."""


class LabError(Exception):
    """The lab could not be built, booted or reached: always a failure, never a skip."""
