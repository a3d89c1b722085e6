/* SPDX-License-Identifier: MIT */
/*
 * Where a machine's description comes from. Four sources, one result (struct ps_machine_spec, defaults filled in and
 * checked):
 *
 *   a key file     traces/machines/NAME.ini or any path: the native form, says everything, each number with its source
 *   hwloc string   "pack:2 [numa(memory=16GB)] core:4 pu:1": nodes and CPUs; the rest by default
 *   hwloc XML      what `lstopo machine.xml` wrote on some host: nodes, CPUs, distances, and latency and bandwidth
 *                  where its firmware says so
 *   this host      the same, asked directly
 *
 * Key files (GKeyFile syntax; comments on lines of their own; an unknown group or key is an error):
 *
 *   [machine]          description  topology (hwloc string or XML file beside the key file: nodes and CPUs come from it)
 *                      page-table-bits  seed
 *   [node N]           size (768M, 16G)  cpus (Linux list: 0-3,8; empty = none)  kind (dram hbm cxl optane)
 *                      abstract-distance
 *   [distance]         node N = one number per node
 *   [read-latency]     node N = ns, one per node; N has CPUs          [write-latency]   the same; absent = as read
 *   [read-bandwidth]   node N = bytes/s (60G, 900M: decimal)          [write-bandwidth] the same; absent = as read
 *   [tlb]              l1-small  l1-huge  l2 = ENTRIES/WAYS
 *   [costs]            the keys of cost.h in ns;  copy-rate  zero-rate in bytes/s
 *   [zones]            movable (percent)
 *   [watermarks]       min-free (KiB)  scale-factor
 *
 * Layer: machine
 */
#ifndef PAGESIM_MACHINE_FILE_H
#define PAGESIM_MACHINE_FILE_H

#include <glib.h>
#include <pagesim/machine.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Domain of the errors here; the message is complete: where, what was expected, what was found. */
#define PS_MACHINE_ERROR (ps_machine_error_quark())
GQuark ps_machine_error_quark(void);

enum ps_machine_error {
	/** No such machine, file or topology. */
	PS_MACHINE_ERROR_NOT_FOUND,
	/** It is there and is not what it should be: syntax, unknown key, number out of range. */
	PS_MACHINE_ERROR_SYNTAX,
	/** Well said, but no machine is like that (ps_machine_spec_check). */
	PS_MACHINE_ERROR_IMPOSSIBLE,
	PS_MACHINE_ERROR_MEMORY,
};

/**
 * ps_machine_spec_load - description of the machine @what.
 * @what: "host"; a file name ending in .ini or .xml or with a '/' in it; a hwloc synthetic string (it has a ':');
 *        otherwise the NAME of NAME.ini in the first of @dirs that has it. All but the string may be followed by sizes:
 *        "dram-cxl,0=64M,1=1G" gives nodes 0 and 1 that much memory. "bits=3" makes its page tables 3 bits a level (huge
 *        pages of 8 small ones), "min-free=32" sets its min-free: small machines for tests, named in one line.
 * @dirs: NULL-terminated directories searched before the ones the library was built with. May be NULL.
 * Return: the spec, freed by ps_machine_spec_free; NULL with @error set.
 */
struct ps_machine_spec *ps_machine_spec_load(const char *what, const char *const *dirs, GError **error);

/** The four sources one by one. @path of the key file also names it in errors. Return: as above. */
struct ps_machine_spec *ps_machine_spec_from_file(const char *path, GError **error);
struct ps_machine_spec *ps_machine_spec_from_string(const char *synthetic, GError **error);
struct ps_machine_spec *ps_machine_spec_from_xml(const char *path, GError **error);
struct ps_machine_spec *ps_machine_spec_from_host(GError **error);

/** ps_machine_spec_free - NULL is fine. */
void ps_machine_spec_free(struct ps_machine_spec *spec);

/** ps_machine_load - ps_machine_spec_load and ps_machine_new in one. Return: the machine, or NULL with @error set. */
struct ps_machine *ps_machine_load(const char *what, const char *const *dirs, GError **error);

/**
 * ps_machine_names - the machines that can be named: every NAME.ini found, sorted, each once.
 * Return: NULL-terminated, freed with g_strfreev.
 */
char **ps_machine_names(const char *const *dirs);

/** The machine replay uses unless told otherwise. */
#define PS_MACHINE_DEFAULT "dram-cxl"

#ifdef __cplusplus
}
#endif

#endif
