"""The bot's side of the fence."""
