"""Validation: what the speed model predicts against what was measured, section by section."""
