"""From the plan and the calls to pages handed to the consumer."""
