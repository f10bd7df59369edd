"""The web page at `/`: plain HTML, CSS and JavaScript modules, which speak to the service by its API alone."""
