"""What may be spent: budgets of money by bot, project, account and time, and what runs have spent of them."""
