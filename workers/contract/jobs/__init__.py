"""The job protocol: models, the store's verbs as Lua scripts, comparisons, previews, the outbox of webhooks."""
