"""`clusterodm simulate`: the real queue and placement on a cluster that exists in numbers only.

How an operator sizes a cluster, and how policies are compared. Stands on the core alone: no network, no real clock.
"""
