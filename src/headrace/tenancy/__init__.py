"""Tenants: their keys, what they may do, and what they have used."""

from headrace.tenancy.accounts import Account, Accounts
from headrace.tenancy.audit import AUDIT_NAME, AuditLog, Change, audit_path, read_audit
from headrace.tenancy.calendar import Periods, periods_of
from headrace.tenancy.key_file import KeyWatch, changing, read_keys
from headrace.tenancy.keys import Key, KeyRing, NewSecret, Secret, new_secret
from headrace.tenancy.limits import Amount, Limiter, Party, Standing
from headrace.tenancy.secret_file import ExposedSecret, read_secret

__all__ = [
    "AUDIT_NAME",
    "Account",
    "Accounts",
    "Amount",
    "AuditLog",
    "Change",
    "ExposedSecret",
    "Key",
    "KeyRing",
    "KeyWatch",
    "Limiter",
    "NewSecret",
    "Party",
    "Periods",
    "Secret",
    "Standing",
    "audit_path",
    "changing",
    "new_secret",
    "periods_of",
    "read_audit",
    "read_keys",
    "read_secret",
]
