"""The pure core: events in, state changed, commands out. No I/O, no clock, no event loop."""
