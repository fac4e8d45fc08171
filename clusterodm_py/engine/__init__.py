"""L3: what moves tasks and watches nodes. Decisions come from the core, effects go through adapters."""
