#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generates src/discover/py_layouts.c from tools/cpython-offsets.json.

Without arguments the file is written; with --check the program fails when the
file that is there differs from what would be written.  A new minor version is a
new table in the JSON file plus a row in VERSIONS, nothing else.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tools/cpython-offsets.json"
HEADER = ROOT / "include/target_config.h"
OUTPUT = ROOT / "src/discover/py_layouts.c"

# What is no offset: minor -> constants of struct py_layout.
#   shim: frame owners from this value on have no Python code (255: none)
#   prev: the frame's instruction is the one before the current one
#   tags: low bits of frame slots that are not address
#   suspended: name of the state of a coroutine that awaits something
VERSIONS = {
    "3.11": dict(shim=255, prev=1, tags=0, suspended="SUSPENDED"),
    "3.12": dict(shim=3, prev=1, tags=0, suspended="SUSPENDED"),
    "3.13": dict(shim=3, prev=0, tags=0, suspended="SUSPENDED_YIELD_FROM"),
    "3.14": dict(shim=3, prev=0, tags=3, suspended="SUSPENDED_YIELD_FROM"),
}

MANAGED_DICT = {
    "values_ptr_-32_dict_ptr_-24": "LS_DICT_VALUES_PTR",
    "dorv_-24_tag1": "LS_DICT_TAGGED",
    "inline_or_dict_-24": "LS_DICT_INLINE",
}

# Field of the layout -> where the JSON file has it, when it is not "struct.field".
FIELDS = {
    "runtime_interpreters_head": "runtime.interpreters_head",
    "runtime_interpreters_main": "runtime.interpreters_main",
    "interp_gil_ptr": "interp.ceval_gil_ptr",
    "tstate_frame": "tstate.current_frame",
    "tstate_cframe": "tstate.cframe",
    "cframe_frame": "cframe.current_frame",
    "tstate_running_loop": "tstate_impl.asyncio_running_loop",
    "tstate_running_task": "tstate_impl.asyncio_running_task",
    "tstate_tasks_head": "tstate_impl.asyncio_tasks_head",
    "interp_tasks_head": "interp.asyncio_tasks_head",
    "frame_code": "iframe.f_executable",
    "frame_previous": "iframe.previous",
    "frame_instr": "iframe.instr_ptr",
    "frame_owner": "iframe.owner",
    "frame_locals": "iframe.localsplus",
    "frame_stacktop": "iframe.stacktop",
    "frame_stackpointer": "iframe.stackpointer",
    "code_adaptive": "code.co_code_adaptive",
    "code_firsttraceable": "code._co_firsttraceable",
    "ob_type": "pyobject.ob_type",
    "var_size": "varobject.ob_size",
    "unicode_ascii": "unicode.ascii_size",
    "unicode_compact": "unicode.compact_size",
    "unicode_data": "unicode.data_any",
    "long_tag": "long.lv_tag_or_ob_size",
    "long_digit": "long.ob_digit",
    "bytes_data": "bytes.ob_sval",
    "tuple_items": "tuple.ob_item",
    "list_items": "list.ob_item",
    "values_first": "dictvalues.values",
    "values_valid": "dictvalues.valid",
    "type_cached_keys": "heaptype.ht_cached_keys",
    "member_descr_member": "member_descr.d_member",
    "member_def_offset": "PyMemberDef.offset",
    "gen_frame": "gen.iframe",
    "gen_state": "gen.frame_state",
    "weakref_object": "weakref.wr_object",
    "module_dict": "module.md_dict",
    "module_state": "module.md_state",
    "queue_list": "simplequeue.lst",
    "queue_position": "simplequeue.lst_pos",
    "queue_get": "simplequeue.get_idx",
    "queue_items": "simplequeue.items",
    "queue_capacity": "simplequeue.items_cap",
    "queue_count": "simplequeue.num_items",
}

# Struct of the layout -> struct of the JSON file and prefix of its members.
STRUCTS = {
    "code": ("code", "co_"),
    "dict": ("dict", "ma_"),
    "keys": ("dictkeys", "dk_"),
    "type": ("type", "tp_"),
    "task": ("task", "task_"),
    "future": ("future", "fut_"),
    "method": ("method", "im_"),
    "function": ("function", "func_"),
    "cell": ("cell", "ob_"),
    "cfunction": ("cfunction", "m_"),
    "context": ("context", "ctx_"),
}

# PyObject header, then prop_get: public since 2.2, not in the DWARF tables.
CONSTANT = {"property_fget": 16}

# _Py_DebugOffsets: name there -> (layout field, bytes of the field).
DEBUG = {
    "runtime_state.interpreters_head": ("runtime_interpreters_head", 8),
    "interpreter_state.id": ("interp_id", 8),
    "interpreter_state.next": ("interp_next", 8),
    "interpreter_state.threads_head": ("interp_tstate_head", 8),
    "interpreter_state.gc": ("interp_gc", 8),
    "interpreter_state.imports_modules": ("interp_modules", 8),
    "interpreter_state.ceval_gil": ("interp_gil_ptr", 8),
    "interpreter_state.gil_runtime_state_locked": ("gil_locked", 4),
    "interpreter_state.gil_runtime_state_holder": ("gil_last_holder", 8),
    "thread_state.next": ("tstate_next", 8),
    "thread_state.interp": ("tstate_interp", 8),
    "thread_state.current_frame": ("tstate_frame", 8),
    "thread_state.thread_id": ("tstate_thread_id", 8),
    "thread_state.native_thread_id": ("tstate_native_thread_id", 8),
    "interpreter_frame.previous": ("frame_previous", 8),
    "interpreter_frame.executable": ("frame_code", 8),
    "interpreter_frame.instr_ptr": ("frame_instr", 8),
    "interpreter_frame.localsplus": ("frame_locals", 8),
    "interpreter_frame.owner": ("frame_owner", 1),
    "interpreter_frame.stackpointer": ("frame_stackpointer", 8),
    "code_object.filename": ("code_filename", 8),
    "code_object.name": ("code_name", 8),
    "code_object.qualname": ("code_qualname", 8),
    "code_object.linetable": ("code_linetable", 8),
    "code_object.firstlineno": ("code_firstlineno", 4),
    "code_object.argcount": ("code_argcount", 4),
    "code_object.localsplusnames": ("code_localsplusnames", 8),
    "code_object.localspluskinds": ("code_localspluskinds", 8),
    "code_object.co_code_adaptive": ("code_adaptive", 1),
    "pyobject.ob_type": ("ob_type", 8),
    "type_object.tp_name": ("type_name", 8),
    "type_object.tp_flags": ("type_flags", 8),
    "type_object.tp_basicsize": ("type_basicsize", 8),
    "type_object.tp_dictoffset": ("type_dictoffset", 8),
    "heap_type_object.ht_cached_keys": ("type_cached_keys", 8),
    "tuple_object.ob_item": ("tuple_items", 8),
    "tuple_object.ob_size": ("var_size", 8),
    "list_object.ob_item": ("list_items", 8),
    "set_object.table": ("set_table", 8),
    "set_object.mask": ("set_mask", 8),
    "dict_object.ma_keys": ("dict_keys", 8),
    "dict_object.ma_values": ("dict_values", 8),
    "long_object.lv_tag": ("long_tag", 8),
    "long_object.ob_digit": ("long_digit", 4),
    "bytes_object.ob_sval": ("bytes_data", 1),
    "unicode_object.state": ("unicode_state", 4),
    "unicode_object.length": ("unicode_length", 8),
    "unicode_object.asciiobject_size": ("unicode_ascii", 0),
    "gc.collecting": ("gc_collecting", 4),
    "gen_object.gi_name": ("gen_name", 8),
    "gen_object.gi_iframe": ("gen_frame", 8),
    "gen_object.gi_frame_state": ("gen_state", 1),
}

ASYNCIO = {
    "asyncio_task_object.task_name": ("task_name", 8),
    "asyncio_task_object.task_awaited_by": ("task_awaited_by", 8),
    "asyncio_task_object.task_awaited_by_is_set": ("task_awaited_by_is_set", 1),
    "asyncio_task_object.task_coro": ("task_coro", 8),
    "asyncio_task_object.task_node": ("task_node", 8),
    "asyncio_interpreter_state.asyncio_tasks_head": ("interp_tasks_head", 8),
    "asyncio_thread_state.asyncio_running_loop": ("tstate_running_loop", 8),
    "asyncio_thread_state.asyncio_running_task": ("tstate_running_task", 8),
    "asyncio_thread_state.asyncio_tasks_head": ("tstate_tasks_head", 8),
}

# Counted from another entry of _Py_DebugOffsets.
RELATIVE = {
    "gil_locked": "interpreter_state.gil_runtime_state",
    "gil_last_holder": "interpreter_state.gil_runtime_state",
}


def layout_fields():
    text = HEADER.read_text()
    start = text.index("#define PY_LAYOUT_FIELDS(X)")
    lines = text[start:].split("\n")
    block = []
    for line in lines:
        block.append(line)
        if not line.endswith("\\"):
            break
    return re.findall(r"X\((\w+)\)", "\n".join(block[1:]))


def source_of(field):
    if field in FIELDS:
        return FIELDS[field].split(".")
    struct, _, member = field.partition("_")
    if struct in STRUCTS:
        struct, prefix = STRUCTS[struct]
        return struct, prefix + member
    return struct, member


def value_of(table, field):
    if field in CONSTANT:
        return CONSTANT[field]
    struct, member = source_of(field)
    if struct not in table:
        raise SystemExit(f"{table['from']}: no struct {struct} for {field}")
    if member not in table[struct]:
        raise SystemExit(f"{table['from']}: no {struct}.{member} for {field}")
    value = table[struct][member]
    if value is not None and not 0 <= value < 0xFFFF:
        raise SystemExit(f"{table['from']}: {field} = {value} does not fit")
    return value


def version_number(minor):
    major, number = minor.split(".")
    return int(major) << 8 | int(number)


def row(minor, table, fields):
    constants = VERSIONS[minor]
    states = table["const"]["frame_state"]
    lines = [
        f"\t{{\t/* {minor}, from {table['from']} */",
        f"\t\t.version = 0x{version_number(minor):04x},",
        f"\t\t.owner_generator = {table['const']['owner']['GENERATOR']},",
        f"\t\t.owner_shim = {constants['shim']},",
        f"\t\t.managed_dict = {MANAGED_DICT[table['const']['managed_dict']]},",
        f"\t\t.stackref_tags = {constants['tags']},",
        f"\t\t.state_suspended = {states[constants['suspended']]},",
        f"\t\t.state_executing = {states['EXECUTING']},",
        f"\t\t.instr_is_prev = {constants['prev']},",
    ]
    for field in fields:
        value = value_of(table, field)
        lines.append(f"\t\t.{field} = {'LS_ABSENT' if value is None else value},")
    lines.append("\t},")
    return lines


def entry(name, field, width, positions, base=0, plus=0):
    group = name.split(".")[0] + ".size"
    size = positions[group]
    return (f"\t{{ FIELD({field}), {positions[name]}, {size}, "
            f"{base}, {plus}, {width} }},\t/* {name.split('.')[1]} */")


def debug_entries(table, fields):
    positions = table["_Py_DebugOffsets"]["fields"]
    lines = []
    for name, (field, width) in DEBUG.items():
        if name not in positions:
            continue
        if field not in fields:
            raise SystemExit(f"{field} is no field of the layout")
        base = positions[RELATIVE[field]] if field in RELATIVE else 0
        lines.append(entry(name, field, width, positions, base))
    # Not told, but they stand right behind something that is.
    main = value_of(table, "runtime_interpreters_main")
    head = value_of(table, "runtime_interpreters_head")
    lines.append(entry("runtime_state.interpreters_head", "runtime_interpreters_main", 8,
                       positions, plus=main - head))
    if not table["_Py_AsyncioModuleDebugOffsets"]:
        loop = value_of(table, "tstate_running_loop")
        lines.append(entry("thread_state.size", "tstate_running_loop", 0, positions,
                           plus=loop - table["tstate"]["size"]))
    return lines


def generate():
    source = json.loads(SOURCE.read_text())
    fields = layout_fields()
    out = [
        "// SPDX-License-Identifier: Apache-2.0",
        "/* Generated by tools/gen-layouts.py from tools/cpython-offsets.json: do not edit. */",
        '#include "discover/py_layout_tables.h"',
        "",
        "#include <stddef.h>",
        "",
        "#define FIELD(name) offsetof(struct py_layout, name)",
        "",
        "const struct py_layout py_layouts[] = {",
    ]
    for minor in VERSIONS:
        out += row(minor, source["versions"][minor], fields)
    out += ["};", "",
            "const unsigned py_layout_count = sizeof(py_layouts) / sizeof(py_layouts[0]);"]
    tables = {"py_debug_tables": [], "py_asyncio_tables": []}
    for minor in VERSIONS:
        table = source["versions"][minor]
        version = version_number(minor)
        for kind, struct, lines in (
                ("debug", "_Py_DebugOffsets", debug_entries),
                ("asyncio", "_Py_AsyncioModuleDebugOffsets", None)):
            if not table[struct]:
                continue
            if lines:
                entries = lines(table, fields)
            else:
                entries = [entry(name, field, width, table[struct]["fields"])
                           for name, (field, width) in ASYNCIO.items()]
            name = f"{kind}_{minor.replace('.', '_')}"
            out += ["", f"/* {minor}: {struct} */",
                    f"static const struct py_told {name}[] = {{"] + entries + ["};"]
            tables[f"py_{kind}_tables"].append(
                f"\t{{ 0x{version:04x}, {table[struct]['size']}, "
                f"sizeof({name}) / sizeof({name}[0]), {name} }},")
    for name, lines in tables.items():
        count = name.replace("tables", "table_count")
        out += ["", f"const struct py_told_table {name}[] = {{"] + lines + ["};", "",
                f"const unsigned {count} = sizeof({name}) / sizeof({name}[0]);"]
    return "\n".join(out) + "\n"


def main():
    text = generate()
    if sys.argv[1:] == ["--check"]:
        if not OUTPUT.exists() or OUTPUT.read_text() != text:
            raise SystemExit(f"{OUTPUT.relative_to(ROOT)} is stale: run tools/gen-layouts.py")
    elif sys.argv[1:]:
        raise SystemExit("usage: gen-layouts.py [--check]")
    else:
        OUTPUT.write_text(text)


if __name__ == "__main__":
    main()
