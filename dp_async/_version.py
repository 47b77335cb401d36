"""The version: the build reads it here, and requests send it in their user agent."""

VERSION = "0.2.0"
