"""What tests share: servers, a raw client, a recording upstream."""
