"""A local stand-in for the Internet Computer and for the canister that keeps memories."""
