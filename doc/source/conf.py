"""Sphinx configuration."""

project = "amphora-agent"
copyright = "amphora-agent developers"  # noqa: A001
extensions = ["openstackdocstheme", "oslo_config.sphinxext"]
html_theme = "openstackdocs"
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
master_doc = "index"
