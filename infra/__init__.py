"""The Pulumi program: an environment file in, an on-prem ML cluster out."""
