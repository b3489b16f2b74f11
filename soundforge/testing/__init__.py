"""Test doubles and the conformance kit for plugin authors."""
