"""Prints the OpenAPI document of the JSON API, of which `npm.py types` makes src/api/schema.ts."""

from __future__ import annotations

import json
import sys

from headwater.console import services
from headwater.console.openapi import document

if __name__ == "__main__":
    json.dump(document(services.ENDPOINTS), sys.stdout)
