"""Which function answers which question. Every handler runs in the scene's thread."""

from __future__ import annotations

from microtome.scene.calls import nodes as node_calls
from microtome.scene.calls import state as state_calls
from microtome.scene.mrml import nodes, state
from microtome.scene.process import Handler

HANDLERS: dict[type, Handler] = {
    state_calls.GetState: state.get_state,
    state_calls.Stop: state.stop,
    node_calls.ListNodes: nodes.list_nodes,
    node_calls.NodeProperties: nodes.node_properties,
    node_calls.RemoveNodes: nodes.remove_nodes,
    node_calls.ReloadNodes: nodes.reload_nodes,
}
