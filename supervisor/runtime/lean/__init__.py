"""Plain questions over the network without a coroutine, a stream or a transport for each: that is most of their cost.

names          what a host's name or address stands for, and what may not be asked
reading        what an answer is read with, without I/O: TCP here, HTTP in http1
form           a question made ready: what is sent, and what reads the answer
conversation   one question on its socket
asker          all of them on one epoll, and their time limits
"""

from supervisor.runtime.lean.asker import LeanAsker

__all__ = ["LeanAsker"]
