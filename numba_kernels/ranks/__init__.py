"""One optimizer in many processes: what each rank knows goes to rank 0, and one decision comes back."""

from numba_kernels.ranks.communicator import Communicator, Lost
from numba_kernels.ranks.rounds import RankError, Ranks

__all__ = ["Communicator", "Lost", "RankError", "Ranks"]
