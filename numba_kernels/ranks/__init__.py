"""One optimizer in many processes: each rank sends its data to rank 0, which decides for all of them."""

from numba_kernels.ranks.communicator import Communicator, Lost
from numba_kernels.ranks.rounds import RankError, Ranks

__all__ = ["Communicator", "Lost", "RankError", "Ranks"]
