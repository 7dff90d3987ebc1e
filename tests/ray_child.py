"""A process that joins the Ray cluster at an address and leaves it."""

import sys

from conftest import ROOT  # noqa: F401 registers live_core

from live_core import LiveError
from live_core.ray_cluster import connected, imported

try:
    with connected(sys.argv[1], 0):
        print("joined", imported().cluster_resources())
except LiveError as error:
    print(error)
