"""Seeded worlds: the whole runtime, journal and hook delivery under faults, in virtual time, held to its invariants.

```
seed ──► scenario.draw ──► Scenario ──► execution.perform: a World of actorflow.testing ──► Observed ──► invariants.check
                              ▲                                                                             │
                              └──────────── shrinking: the shortest scenario that breaks the same ◄─────────┘
```
"""
