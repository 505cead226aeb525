"""What ``run_app.py`` hands to Streamlit; see ``dashboard.app``."""

from dashboard.app import main

main()
