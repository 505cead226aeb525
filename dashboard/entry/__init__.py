"""The script that Streamlit runs, in a folder of its own.

Beside a folder named ``pages`` Streamlit falls back to its old way of finding pages, and a link to ``/plan`` would run
``pages/plan.py`` as a script instead of the app.
"""
