"""The version, read here by the build and sent in the user agent."""

VERSION = "0.1.0"
