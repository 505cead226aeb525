"""Who is at this browser. Kept with Streamlit's session, in the server's memory: no cookie, gone with the tab.

Only this module writes it, and only what the door has let in.
"""

import streamlit as st

from core.access import Door, Person

__all__ = ["address", "leave", "let_in", "person"]

_KEY = "espalier-person"


def person(door: Door) -> Person | None:
    """The person who has logged in here, or None."""
    found = st.session_state.get(_KEY)
    if isinstance(found, Person):
        return found
    if door.policy.login == "oidc" and st.user.is_logged_in:
        account = st.user.to_dict()
        name = str(account.get("name") or account.get("email") or "Somebody")
        let_in(door.enter_account(str(account.get("iss") or ""), str(account.get("sub") or ""), name))
        return person(door)
    return None


def let_in(someone: Person) -> None:
    """Remember who the door let in."""
    st.session_state[_KEY] = someone


def leave(door: Door) -> None:
    """Forget the person, and everything else of this tab."""
    st.session_state.clear()
    if door.policy.login == "oidc":
        st.logout()


def address() -> str:
    """Where the browser is on the network, as far as the server can tell; several people may share it."""
    return st.context.ip_address or "this machine"
