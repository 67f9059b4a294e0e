"""What runs and when: bots, their triggers, and the deliveries that start them."""
