"""What a real browser makes of it: headless Chromium, from Debian's packages."""
