#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Tests of the checks of tools/: each is shown a small tree that is in order, then the same tree with one fault planted, and
must report exactly that fault, at its line. A check that cannot fail proves nothing.

    test_checks.py PATH/TO/tools
"""
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

TOOLS = None

PUBLIC = """\
/* SPDX-License-Identifier: MIT */
/*
 * An idea.
 *
 * Layer: {layer}
 */
#ifndef {guard}
#define {guard}
{body}
#endif
"""


def public(name, layer, body):
    guard = "PAGESIM_" + name.upper().replace(".", "_")
    return PUBLIC.format(layer=layer, guard=guard, body=textwrap.dedent(body))


def source(body):
    return "/* SPDX-License-Identifier: MIT */\n/* An idea. */\n" + textwrap.dedent(body)


# A tree with three layers, two of them with the same number, in which every check is content.
IN_ORDER = {
    "sim/meson.build": "# SPDX-License-Identifier: MIT\nlayers = [\n  ['base', 0, true], ['left', 1, true], ['right', 1, false],\n"
                       "  ['top', 2, false],\n]\n",
    "include/pagesim/meson.build": "# SPDX-License-Identifier: MIT\npublic_headers = files(\n  'low.h',\n  'side.h',\n  'high.h',\n)\n",
    "include/pagesim/low.h": public("low.h", "base", """\
        #include <stddef.h>
        static inline int low_inline(int x) { return x; }
        """),
    "include/pagesim/side.h": public("side.h", "left", """\
        #include <pagesim/low.h>
        #ifdef __cplusplus
        extern "C" {
        #endif
        struct side;
        extern int side_count(const struct side *side);
        #ifdef __cplusplus
        }
        #endif
        """),
    "include/pagesim/high.h": public("high.h", "top", "#include <pagesim/side.h>\n"),
    "sim/base/low.c": source('#include "base/private.h"\n#include <pagesim/low.h>\n'),
    "sim/base/private.h": source("\n"),
    "sim/left/side.c": source('#include <pagesim/side.h>\n#include "base/private.h"\n'),
    "sim/top/high.c": source('#include <pagesim/high.h>\n#include "base/private.h"\n'),
    "tests/left/test_side.c": source("#include <pagesim/side.h>\n"),
    "tests/golden/split-twice.pgs": "A start\n",
    "tests/golden/swap.pgs": "A start\n",
    "tools/pagesim/main.c": source('#include <pagesim/high.h>\n#include "cmd.h"\n'),
}


class TreeTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pagesim-tree-")
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in IN_ORDER.items():
            self.write(path, text)

    def write(self, path, text, executable=False):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)
        if executable:
            os.chmod(full, 0o755)

    def append(self, path, text):
        with open(os.path.join(self.root, path), "a", encoding="utf-8") as f:
            f.write(text)

    def replace(self, path, old, new):
        full = os.path.join(self.root, path)
        with open(full, encoding="utf-8") as f:
            text = f.read()
        self.assertIn(old, text)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))

    def run_check(self, *command):
        return subprocess.run([os.path.join(TOOLS, command[0]), "--root", self.root, *command[1:]], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})

    def assert_in_order(self, *command):
        done = self.run_check(*command)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(" 0 findings", done.stdout)

    def assert_finds(self, command, *findings):
        """@command exits with 1, and its findings are these, one line each, each given by its start and words in it."""
        done = self.run_check(*command)
        self.assertEqual(done.returncode, 1, done.stdout)
        lines = done.stdout.splitlines()[:-1]
        self.assertEqual(len(lines), len(findings), done.stdout)
        for line, (start, words) in zip(lines, findings):
            self.assertTrue(line.startswith(start), f"{line!r} does not start with {start!r}")
            self.assertIn(words, line)


class CheckLayers(TreeTest):
    check = ["check-layers"]

    def test_tree_in_order_is_passed(self):
        self.assert_in_order(*self.check)

    def test_private_header_of_a_higher_layer_is_found(self):
        self.write("sim/top/secret.h", source("\n"))
        self.append("sim/base/low.c", '#include "top/secret.h"\n')
        self.assert_finds(self.check, ("sim/base/low.c:5: ", "base is layer 0, top is layer 2"))

    def test_public_header_of_a_higher_layer_is_found(self):
        self.append("sim/base/low.c", "#include <pagesim/side.h>\n")
        self.assert_finds(self.check, ("sim/base/low.c:5: ", "base is layer 0, left is layer 1"))

    def test_layers_of_equal_number_are_kept_apart(self):
        self.write("sim/right/r.c", source("#include <pagesim/side.h>\n"))
        self.assert_finds(self.check, ("sim/right/r.c:3: ", "right and left are both layer 1"))

    def test_spaces_and_comments_around_an_include_hide_nothing(self):
        self.append("sim/base/low.c", "  #  include\t<pagesim/high.h> /* why not */\n")
        self.assert_finds(self.check, ("sim/base/low.c:5: ", "top is layer 2"))

    def test_private_header_is_held_to_the_rule_as_well(self):
        self.append("sim/base/private.h", "#include <pagesim/high.h>\n")
        self.assert_finds(self.check, ("sim/base/private.h:4: ", "top is layer 2"))

    def test_public_header_includes_no_private_one(self):
        self.replace("include/pagesim/side.h", "#include <pagesim/low.h>", '#include "base/private.h"')
        self.assert_finds(self.check, ("include/pagesim/side.h:9: ", "only <pagesim/...>"))

    def test_public_header_that_includes_upwards_is_found(self):
        self.replace("include/pagesim/low.h", "#include <stddef.h>", "#include <pagesim/high.h>")
        self.assert_finds(self.check, ("include/pagesim/low.h:9: ", "base is layer 0, top is layer 2"))

    def test_public_header_without_a_layer_line_is_found(self):
        self.replace("include/pagesim/low.h", " * Layer: base\n", "")
        self.assert_finds(self.check, ("include/pagesim/low.h:1: ", "has 0 lines"))

    def test_list_belongs_to_the_layer_of_its_header(self):
        self.write("include/pagesim/side.def", "/* SPDX-License-Identifier: MIT */\nITEM(one)\n")
        self.append("sim/left/side.c", "#include <pagesim/side.def>\n")
        self.assert_in_order(*self.check)
        self.append("sim/base/low.c", "#include <pagesim/side.def>\n")
        self.assert_finds(self.check, ("sim/base/low.c:5: ", "base is layer 0, left is layer 1"))

    def test_layer_line_with_a_name_that_is_no_layer_is_found(self):
        self.replace("include/pagesim/high.h", "Layer: top", "Layer: roof")
        self.assert_finds(self.check, ("include/pagesim/high.h:5: ", "'roof' is none of base, left, right, top"))

    def test_layer_line_must_agree_with_the_folder_of_the_source(self):
        self.replace("include/pagesim/side.h", "Layer: left", "Layer: base")
        self.assert_finds(self.check, ("include/pagesim/side.h:5: ", "its source is sim/left/side.c"))

    def test_bare_name_is_no_way_to_include_a_private_header(self):
        self.append("sim/base/low.c", '#include "private.h"\n')
        self.assert_finds(self.check, ("sim/base/low.c:5: ", 'write "layer/file.h"'))

    def test_header_that_does_not_exist_is_found(self):
        self.append("sim/base/low.c", '#include "base/nowhere.h"\n#include <pagesim/nowhere.h>\n')
        self.assert_finds(self.check, ("sim/base/low.c:5: ", "no sim/base/nowhere.h"),
                          ("sim/base/low.c:6: ", "no include/pagesim/nowhere.h"))

    def test_header_the_build_makes_is_known_by_its_template(self):
        self.append("sim/base/low.c", '#include "base/made.h"\n')
        self.write("sim/base/made.h.in", source("#define MADE @MADE@\n"))
        self.assert_in_order(*self.check)
        self.append("sim/base/made.h.in", "#include <pagesim/high.h>\n")
        self.assert_finds(self.check, ("sim/base/made.h.in:4: ", "top is layer 2"))

    def test_folder_that_is_no_layer_is_found(self):
        self.write("sim/attic/a.c", source("\n"))
        self.write("sim/loose.c", source("\n"))
        self.assert_finds(self.check, ("sim/attic/a.c: ", "no layer's folder"), ("sim/loose.c: ", "no layer's folder"))

    def test_test_may_not_reach_above_its_layer(self):
        self.append("tests/left/test_side.c", "#include <pagesim/high.h>\n")
        self.assert_finds(self.check, ("tests/left/test_side.c:4: ", "left is layer 1, top is layer 2"))

    def test_tests_share_helpers_along_the_layers(self):
        self.write("tests/base/scene.h", source("\n"))
        self.write("tests/top/scene.h", source("\n"))
        self.append("tests/left/test_side.c", '#include "base/scene.h"\n')
        self.assert_in_order(*self.check)
        self.append("tests/left/test_side.c", '#include "top/scene.h"\n')
        self.assert_finds(self.check, ("tests/left/test_side.c:5: ", "left is layer 1, top is layer 2"))

    def test_cli_uses_public_headers_only(self):
        self.append("tools/pagesim/main.c", '#include "base/private.h"\n')
        self.assert_finds(self.check, ("tools/pagesim/main.c:5: ", "public headers only"))

    def test_library_that_has_one_place_is_found_elsewhere(self):
        self.append("sim/base/low.c", "#include <glib.h>\n#include <urcu.h>\n#include <urcu/urcu-memb.h>\n")
        self.assert_finds(self.check, ("sim/base/low.c:5: ", "GLib is for the outer layers"),
                          ("sim/base/low.c:6: ", "wrapped in the runtime"), ("sim/base/low.c:7: ", "wrapped in the runtime"))

    def test_two_faults_are_two_findings(self):
        self.append("sim/base/low.c", "#include <pagesim/high.h>\n")
        self.append("sim/left/side.c", "#include <pagesim/high.h>\n")
        self.assert_finds(self.check, ("sim/base/low.c:5: ", ""), ("sim/left/side.c:5: ", ""))


class CheckHeaders(TreeTest):
    check = ["check-headers"]

    def test_tree_in_order_is_passed(self):
        self.assert_in_order(*self.check)

    def test_header_that_needs_another_before_it_is_found(self):
        self.replace("include/pagesim/low.h", "#include <stddef.h>\n", "size_t low_size(void);\n")
        done = self.run_check(*self.check)
        self.assertEqual(done.returncode, 1)
        self.assertIn("include/pagesim/low.h: does not stand alone as C11: ", done.stdout)
        self.assertIn("include/pagesim/low.h: does not stand alone as C++17: ", done.stdout)

    def test_word_that_is_a_keyword_of_cxx_is_found(self):
        self.replace("include/pagesim/high.h", "#define PAGESIM_HIGH_H\n", "#define PAGESIM_HIGH_H\nstruct high { int private; };\n")
        self.assert_finds(self.check, ("include/pagesim/high.h: ", "does not stand alone as C++17"))

    def test_pointer_from_void_without_a_cast_is_found(self):
        self.append("include/pagesim/high.h", "static inline int *high(void *p)\n{\n\tint *i = p;\n\treturn i;\n}\n")
        self.replace("include/pagesim/high.h", "#endif\nstatic", "static")
        self.append("include/pagesim/high.h", "#endif\n")
        self.assert_finds(self.check, ("include/pagesim/high.h: ", "does not stand alone as C++17"))

    def test_extension_of_gnu_c_is_found(self):
        self.replace("include/pagesim/low.h", "return x;", "typeof(x) y = x; return y;")
        done = self.run_check(*self.check)
        self.assertEqual(done.returncode, 1)
        self.assertIn("include/pagesim/low.h: does not stand alone as C11: ", done.stdout)

    def test_warning_is_a_fault(self):
        self.replace("include/pagesim/low.h", "return x;", "unsigned u = 1; return x < u;")
        done = self.run_check(*self.check)
        self.assertEqual(done.returncode, 1)
        self.assertIn("sign-compare", done.stdout)

    def test_missing_guard_is_found(self):
        self.write("include/pagesim/high.h", source(" /*\n * Layer: top\n */\nstruct high { int x; };\n"))
        done = self.run_check(*self.check)
        self.assertEqual(done.returncode, 1)
        self.assertIn("redefinition of", done.stdout)

    def test_headers_that_cannot_be_included_together_are_found(self):
        self.replace("include/pagesim/low.h", "#include <stddef.h>\n", "#include <stddef.h>\n#define SHADE 1\n")
        self.write("include/pagesim/high.h", public("high.h", "top", "enum shades { SHADE, LIGHT };\n"))
        self.assert_finds(self.check, ("include/pagesim: ", "cannot be included together as C11"),
                          ("include/pagesim: ", "cannot be included together as C++17"))

    def test_header_that_would_not_be_installed_is_found(self):
        self.replace("include/pagesim/meson.build", "  'high.h',\n", "")
        self.assert_finds(self.check, ("include/pagesim/high.h: ", "is not in the list of include/pagesim/meson.build"))

    def test_declaration_with_the_names_of_cxx_is_found(self):
        self.replace("include/pagesim/side.h", 'extern "C" {\n', "namespace side {\n")
        self.assert_finds(self.check, ("include/pagesim/side.h: ", 'extern "C"'))


class Exports(TreeTest):
    def names(self):
        done = self.run_check("exports")
        self.assertEqual(done.returncode, 0, done.stdout)
        with open(os.path.join(self.root, "sim/pagesim.map"), encoding="utf-8") as f:
            lines = f.read().split("global:\n")[-1].split("local:")[0].splitlines()
        return [line.strip().rstrip(";") for line in lines]

    def test_every_shape_of_declaration_is_seen_and_no_definition(self):
        self.replace("include/pagesim/low.h", "static inline int low_inline", """\
struct cell { int (*method)(int); };
typedef int (*typed)(int);
enum colour { RED, GREEN };
int plain(void);
extern int spelled(void);
__attribute__((noreturn, cold)) void attributed(const char *why);
void attributed_behind(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct cell *
over_lines(int a,
\t   int b);
int (*returns_pointer(int which))(int);
int takes_pointer(int (*callback)(int), void *arg);
#define DECLARE(name) int made_##name(void); extern int var_##name;
DECLARE(one)
DECLARE(two)
#undef DECLARE
extern __thread struct cell *thread_local_one;
extern const char *const table_of[], *second;
extern int (*hook)(int) __attribute__((visibility("default")));
extern int initialised_elsewhere __attribute__((aligned(64)));
static inline int with_extern_inside(void) { extern int hidden_inside; return hidden_inside; }
static int forward(void);
static inline int forward(void) { return 0; }
static const int constant = 1;
static inline int low_inline""")
        self.assertEqual(self.names(), sorted([
            "attributed", "attributed_behind", "hook", "initialised_elsewhere", "made_one", "made_two", "over_lines", "plain",
            "returns_pointer", "second", "side_count", "spelled", "table_of", "takes_pointer", "thread_local_one", "var_one",
            "var_two"]))
        self.assert_in_order("exports", "--check")

    def test_map_out_of_date_is_found_both_ways(self):
        self.names()
        self.replace("include/pagesim/side.h", "side_count(", "side_number(")
        self.assert_finds(["exports", "--check"], ("include/pagesim/side.h: ", "declares side_number"),
                          ("sim/pagesim.map: ", "lists side_count"))

    def test_map_edited_by_hand_is_found(self):
        self.names()
        self.append("sim/pagesim.map", "# mine\n")
        self.assert_finds(["exports", "--check"], ("sim/pagesim.map: ", "is not as tools/exports writes it"))

    def build_library(self, text, *flags):
        self.write("lib.c", text)
        library = os.path.join(self.root, "libtiny.so")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, *flags, os.path.join(self.root, "lib.c")], check=True)
        return library

    def test_library_is_compared_with_the_declarations(self):
        self.names()
        script = "-Wl,--version-script=" + os.path.join(self.root, "sim/pagesim.map")
        body = "int side_count(void) { return 0; }\nint helper(void) { return 0; }\n"
        self.assert_in_order("exports", "--check", "--library", self.build_library(body, script))
        self.assert_finds(["exports", "--check", "--library", self.build_library(body)],
                          ("libtiny.so: ", "defines helper, which no public header declares"))
        self.assert_finds(["exports", "--check", "--library", self.build_library("int helper(void) { return 0; }\n", script)],
                          ("include/pagesim/side.h: ", "declares side_count, which libtiny.so does not define"))

    def test_header_that_does_not_compile_is_one_clear_error(self):
        self.append("include/pagesim/high.h", "#include <pagesim/nowhere.h>\n")
        done = self.run_check("exports")
        self.assertEqual(done.returncode, 1)
        self.assertIn("pagesim/nowhere.h: No such file", done.stdout)
        self.assertNotIn("Traceback", done.stdout)


class CheckCounters(TreeTest):
    check = ["check-counters"]
    header = "include/pagesim/vmstat.h"

    def setUp(self):
        super().setUp()
        self.write(self.header, public("vmstat.h", "low", "#define EVENTS(X) X(MOVED, moved, 0) X(STILL, still, 1 | PS_VMSTAT_UNMOVED)\n"))
        self.append("sim/left/side.c", "int side(void) { return MOVED; }\n")

    def test_tree_in_order_is_passed(self):
        self.assert_in_order(*self.check)

    def test_mark_that_is_no_longer_true_is_found_and_put_right(self):
        self.append("sim/left/side.c", "int other(void) { return STILL; }\n")
        self.assert_finds(self.check, (self.header + ":", "still is moved by sim/ now"))
        self.assert_in_order(*self.check, "--write")
        self.assert_in_order(*self.check)

    def test_counter_nobody_moves_is_found_and_put_right(self):
        self.replace("sim/left/side.c", "MOVED", "0")
        self.assert_finds(self.check, (self.header + ":", "nothing in sim/ moves moved"))
        self.assert_in_order(*self.check, "--write")
        self.assert_in_order(*self.check)


class CheckFiles(TreeTest):
    check = ["check-files"]

    def test_tree_in_order_is_passed(self):
        self.assert_in_order(*self.check)

    def test_file_without_a_licence_is_found(self):
        for path in ("sim/base/x.c", "sim/base/x.h", "sim/base/meson.build", "meson_options.txt", "traces/machines/x.machine"):
            with self.subTest(path=path):
                self.write(path, "# nothing\n" if not path.endswith((".c", ".h")) else "/* */\n/* An idea. */\n")
                self.assert_finds(self.check, (path + ":1: ", "SPDX-License-Identifier"))
                os.remove(os.path.join(self.root, path))

    def test_script_without_a_licence_is_found(self):
        self.write("tools/run", "#!/bin/sh\nexit 0\n", executable=True)
        self.assert_finds(self.check, ("tools/run:1: ", "SPDX-License-Identifier"))

    def test_source_that_does_not_tell_its_idea_is_found(self):
        self.write("sim/base/x.c", "/* SPDX-License-Identifier: MIT */\nint x;\n")
        self.assert_finds(self.check, ("sim/base/x.c:2: ", "tells its idea"))

    def test_script_that_does_not_parse_is_found(self):
        self.write("tools/run", "#!/bin/sh\n# SPDX-License-Identifier: MIT\nif true; then\n", executable=True)
        self.write("tools/snake", "#!/usr/bin/env python3\n# SPDX-License-Identifier: MIT\ndef f(:\n", executable=True)
        self.assert_finds(self.check, ("tools/run: ", "yntax error"), ("tools/snake:3: ", "python: "))

    def test_script_that_cannot_be_run_is_found(self):
        self.write("tools/run", "#!/bin/sh\n# SPDX-License-Identifier: MIT\nexit 0\n")
        self.assert_finds(self.check, ("tools/run:1: ", "not executable"))

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck")
    def test_script_that_shellcheck_warns_of_is_found(self):
        self.write("tools/run", '#!/bin/sh\n# SPDX-License-Identifier: MIT\ncd "$1"\nls\n', executable=True)
        self.assert_finds(self.check, ("tools/run:3: ", "shellcheck: "))

    def test_model_that_names_a_golden_scenario_is_found(self):
        self.append("sim/top/high.c", 'static const char *special = "split-twice";\n')
        self.assert_finds(self.check, ("sim/top/high.c:5: ", "names the golden scenario 'split-twice'"))

    def test_scenario_named_as_a_file_is_found_but_an_ordinary_word_is_none(self):
        self.append("sim/top/high.c", "/* swap is an ordinary word */\n")
        self.assert_in_order(*self.check)
        self.append("sim/top/high.c", '/* but "swap.pgs" is a scenario */\n')
        self.assert_finds(self.check, ("sim/top/high.c:6: ", "names the golden scenario 'swap.pgs'"))

    def test_merge_marker_and_leftover_are_found(self):
        self.append("sim/base/low.c", "<<<<<<< HEAD\n")
        self.write("sim/base/low.c.orig", "old\n")
        self.assert_finds(self.check, ("sim/base/low.c:5: ", "merge marker"), ("sim/base/low.c.orig: ", "leftover"))


class CheckDocs(TreeTest):
    check = ["check-docs"]

    def setUp(self):
        super().setUp()
        self.write("tools/pagesim/commands.def", '/* SPDX-License-Identifier: MIT */\nCOMMAND(replay, "run")\n')
        self.write("docs/commands/replay.scd", "## pagesim replay\n")
        self.write("docs/life.md", "# The life of a page\n\n## It is `born`\n\n## Twice\n\n## Twice\n")
        self.write("README.md", "# Read\n\nSee [life](docs/life.md#it-is-born), [again](docs/life.md#twice-1), [here](#read), "
                                "[out](https://example.org/x#y),\n`sim/base/low.c`, `sim/policy/NAME.c`, `tools/pagesim/main.c:3`.\n\n"
                                "```sh\npagesim replay x\n```\n")

    def test_tree_in_order_is_passed(self):
        self.assert_in_order(*self.check)

    def test_link_to_no_file_and_to_no_heading_are_found(self):
        self.append("README.md", "[a](docs/none.md)\n[b](docs/life.md#dies)\n[c](../up.md)\n[d](#nowhere)\n")
        self.assert_finds(self.check, ("README.md:9: ", "no docs/none.md"), ("README.md:10: ", "no such heading"),
                          ("README.md:11: ", "no ../up.md"), ("README.md:12: ", "no such heading"))

    def test_path_that_does_not_exist_is_found(self):
        self.append("docs/life.md", "It lives in `sim/base/gone.c`.\n")
        self.assert_finds(self.check, ("docs/life.md:8: ", "speaks of sim/base/gone.c"))

    def quote(self, *lines):
        self.write("sim/base/low.c", source("int f(void)\n{\n\tint x = 1;\n\n\treturn x;\n}\n"))
        self.append("docs/life.md", "\n```c sim/base/low.c\n" + "\n".join(lines) + "\n```\n")

    def test_true_quotes_are_passed(self):
        self.quote("int f(void)", "{", "        int x = 1;")
        self.quote("int f(void)", "...", "return x;", "}")
        self.assert_in_order(*self.check)

    def test_quote_that_left_its_source_is_found(self):
        self.quote("int f(void)", "{", "        int x = 2;")
        self.assert_finds(self.check, ("docs/life.md:9: ", "where 'int x = 2;' does not stand like that"))

    def test_quote_out_of_order_is_found(self):
        self.quote("return x;", "...", "int f(void)")
        self.assert_finds(self.check, ("docs/life.md:9: ", "where 'int f(void)' does not stand like that"))

    def test_quote_of_no_file_is_found(self):
        self.append("docs/life.md", "\n```c sim/base/gone.c\nint x;\n```\n")
        self.assert_finds(self.check, ("docs/life.md:9: ", "quotes sim/base/gone.c"))

    def test_command_without_a_section_is_found(self):
        self.append("tools/pagesim/commands.def", 'COMMAND(dance, "no")\n')
        self.assert_finds(self.check, ("tools/pagesim/commands.def: ", "lists dance, but there is no docs/commands/dance.scd"))

    def test_command_that_does_not_exist_is_found(self):
        self.append("README.md", "\n    pagesim dance\n\nOr `pagesim sing x`.\n")
        self.assert_finds(self.check, ("README.md:10: ", "speaks of pagesim dance"), ("README.md:12: ", "speaks of pagesim sing"))


class Tally(unittest.TestCase):
    def tally(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as log:
            log.write(text)
            log.flush()
            return subprocess.run([sys.executable, os.path.join(TOOLS, "tally.py"), log.name], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)

    def test_every_result_of_meson_is_counted_once(self):
        results = ["OK", "OK", "EXPECTEDFAIL", "SKIP", "FAIL", "TIMEOUT", "ERROR", "UNEXPECTEDPASS", "INTERRUPT"]
        done = self.tally("".join(f'{{"name": "t{i}", "result": "{r}"}}\n' for i, r in enumerate(results)))
        self.assertEqual(done.stdout, "3 5 1\nt4\nt5\nt6\nt7\nt8\n")
        self.assertEqual(done.returncode, 0)

    def test_no_test_at_all_is_not_success(self):
        for text in ("", "not json\n", "{}\n"):
            with self.subTest(text=text):
                self.assertNotEqual(self.tally(text).returncode, 0)


class Deps(unittest.TestCase):
    """tools/deps with a dpkg, an apt-get and a sudo of our own, which only write down how they were called."""

    def setUp(self):
        self.bin = tempfile.mkdtemp(prefix="pagesim-deps-")
        self.addCleanup(shutil.rmtree, self.bin)
        self.log = os.path.join(self.bin, "log")
        self.absent = os.path.join(self.bin, "absent")
        self.set_absent()
        for name in ("sh", "env", "id", "cat", "sed", "tr", "grep", "printf"):
            os.symlink(shutil.which(name), os.path.join(self.bin, name))
        self.fake("dpkg-query", f'for last; do :; done; grep -qx "$last" {self.absent} || printf installed')
        self.fake("apt-get", f'echo "apt-get $*" >> {self.log}; [ ! -e {self.bin}/lists-empty ] || case $* in *update*) '
                             f'{shutil.which("rm")} {self.bin}/lists-empty ;; *) exit 100 ;; esac')
        self.user(0)

    def fake(self, name, body):
        path = os.path.join(self.bin, name)
        if os.path.lexists(path):
            os.remove(path)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\n{body}\n")
        os.chmod(path, 0o755)

    def user(self, uid):
        self.fake("id", f"echo {uid}")

    def set_absent(self, *names):
        with open(self.absent, "w", encoding="utf-8") as f:
            f.writelines(f"{n}\n" for n in names)

    def run_deps(self, *args):
        return subprocess.run(["/bin/sh", os.path.join(TOOLS, "deps"), *args], env={"PATH": self.bin}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def calls(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as f:
            return f.read().splitlines()

    def test_nothing_missing_means_nothing_done(self):
        done = self.run_deps()
        self.assertEqual((done.returncode, done.stdout, self.calls()), (0, "", []))

    def test_only_what_is_missing_is_installed_without_a_question(self):
        self.set_absent("meson", "clang")
        self.assertEqual(self.run_deps().returncode, 0)
        self.assertEqual(len(self.calls()), 1)
        self.assertRegex(self.calls()[0], r" install -y .*--no-install-recommends meson clang$")

    def test_what_only_checks_need_is_not_installed_to_build(self):
        self.set_absent("clang")
        self.assertEqual((self.run_deps("build").returncode, self.calls()), (0, []))

    def test_empty_package_lists_of_a_fresh_machine_are_fetched(self):
        self.set_absent("meson")
        open(os.path.join(self.bin, "lists-empty"), "w").close()
        self.assertEqual(self.run_deps().returncode, 0)
        self.assertEqual([("update" in c, "install" in c) for c in self.calls()], [(False, True), (True, False), (False, True)])

    def test_failure_of_apt_is_a_failure(self):
        self.set_absent("meson")
        self.fake("apt-get", "echo E: no network; exit 100")
        done = self.run_deps()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("E: no network", done.stdout)

    def test_user_without_root_goes_through_sudo(self):
        self.user(1000)
        self.set_absent("meson")
        self.fake("sudo", f'echo "sudo $1" >> {self.log}; [ "$1" != -n ] || shift; exec "$@"')
        self.assertEqual(self.run_deps().returncode, 0)
        self.assertEqual(self.calls()[0], "sudo -n")
        self.assertIn(" install ", self.calls()[1])

    def test_user_without_root_and_sudo_is_told_what_to_do(self):
        self.user(1000)
        self.set_absent("meson", "scdoc")
        done = self.run_deps()
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt-get install meson scdoc", done.stdout)
        self.assertEqual(self.calls(), [])

    def test_other_system_is_told_the_names(self):
        os.remove(os.path.join(self.bin, "dpkg-query"))
        done = self.run_deps()
        self.assertEqual(done.returncode, 0)
        self.assertIn("meson", done.stdout)

    def test_unknown_word_is_refused(self):
        self.assertEqual(self.run_deps("everything").returncode, 2)


class Format(TreeTest):
    def setUp(self):
        super().setUp()
        shutil.copy(os.path.join(os.path.dirname(TOOLS), ".clang-format"), self.root)
        done = self.run_check("format")
        if done.returncode == 77:
            self.skipTest(done.stdout.strip())

    def test_formatted_tree_is_passed_and_stays_as_it_is(self):
        self.assert_in_order("format", "--check")
        self.assertEqual(self.run_check("format").stdout, "")

    def test_line_out_of_form_is_found_and_put_right(self):
        self.append("sim/base/low.c", "int  f(void) {\n    return 1;\n}\n")
        self.assert_finds(["format", "--check"], ("sim/base/low.c:5: ", "run tools/format sim/base/low.c"))
        self.assertEqual(self.run_check("format").stdout, "sim/base/low.c: formatted\n")
        self.assert_in_order("format", "--check")

    def test_table_laid_out_by_hand_can_stay_so(self):
        self.append("sim/base/low.c", "/* clang-format off */\nint table[] = {  1,   2 };\n/* clang-format on */\n")
        self.assert_in_order("format", "--check")


    def test_word_with_dashes_that_a_macro_makes_a_string_of_is_not_spaced_out(self):
        table = "#define LIST(C) \\\n\tC(hint-fault, 1) \\\n\tC(b, 2)\n"
        self.append("sim/base/low.c", table)
        self.assert_finds(["format"], ("sim/base/low.c:6: ", "a subtraction of 'hint-fault'"))
        self.replace("sim/base/low.c", table, "/* clang-format off */\n" + table + "/* clang-format on */\n")
        self.assert_in_order("format", "--check")


if __name__ == "__main__":
    TOOLS = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
