# SPDX-License-Identifier: MIT
"""Breadth-first search in a random graph of dictionaries, sets and lists: what an interpreter does to memory."""
import sys
from collections import deque

nodes, degree, searches = (int(a) for a in sys.argv[1:4])
seed = 6


def below(n):
    global seed
    seed = (seed * 1103515245 + 12345) % (1 << 31)
    return (seed >> 8) % n


edges = {n: [] for n in range(nodes)}
for n in range(nodes):
    for _ in range(degree):
        other = below(nodes)
        edges[n].append(other)
        edges[other].append(n)
for start in range(searches):
    distance = {start: 0}
    queue = deque([start])
    while queue:
        n = queue.popleft()
        for other in edges[n]:
            if other not in distance:
                distance[other] = distance[n] + 1
                queue.append(other)
    print(start, len(distance), max(distance.values()))
