"""What tests with operators share."""

from hub.operator_settings import OperatorSettings

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple horse correct"
HERE = "192.0.2.1"
CHEAP = OperatorSettings(password_memory_kib=1024, password_passes=1, password_lanes=1)
