"""Sphinx configuration of the release notes."""

project = "amphora-agent release notes"
extensions = ["openstackdocstheme", "reno.sphinxext"]
html_theme = "openstackdocs"
openstackdocs_auto_name = False
master_doc = "index"
