"""Layer 3: from the plan and the calls to pages delivered to the consumer."""
