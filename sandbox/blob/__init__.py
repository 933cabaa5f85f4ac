"""A stand-in for Vercel Blob: its API and its object URLs, on one loopback port."""
