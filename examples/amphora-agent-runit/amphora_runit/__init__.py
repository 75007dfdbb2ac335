# SPDX-License-Identifier: Apache-2.0
"""Drivers for amphora-agent that live outside its tree: an example to start from."""
