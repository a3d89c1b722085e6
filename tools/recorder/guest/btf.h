/* SPDX-License-Identifier: MIT */
/*
 * BTF, the kernel's description of its own types, as /sys/kernel/btf/vmlinux holds it: enough of it to ask where a member
 * lies in a struct and what number an enumeration constant has. The recorder reads struct page out of the running kernel,
 * and every kernel lays it out differently; so no offset is written down anywhere but found here.
 *
 * The format (kernel documentation, Documentation/bpf/btf.rst), in host byte order:
 *
 *	header     magic 0xeb9f (2), version (1), flags (1), length of the header (4),
 *	           type section: offset and length (4, 4), string section: offset and length (4, 4); offsets from the header's end
 *	type       name (4, offset of a string; 0 = none), info (4), size or another type (4), then what its kind adds
 *	info       bits 0-15 count of members, 24-28 kind, 31 kind flag (members carry bit-field sizes)
 *	member     name (4), type (4), offset in bits (4; with the kind flag only the low 24 bits are)
 *	enumerator name (4), value (4)
 *
 * The types are numbered from 1 in the order in which they stand.
 */
#ifndef GUEST_BTF_H
#define GUEST_BTF_H

#include <stddef.h>

#include <pagesim/types.h>

struct btf {
	const u8 *types;
	const char *strings;
	u32 types_size, strings_size;
	u32 nr_types;
	u32 *offset; /* of type i in the type section, [nr_types + 1], 0 unused */
};

/** struct btf_member - where a member lies. @bytes: the size of its type; 0 when that has none we know. */
struct btf_member {
	u32 offset;
	u32 bytes;
};

/**
 * btf_init() - look over the bytes of a BTF file, which must stay where they are.
 * Return: 0; -EINVAL when it is not one or damaged; -ENOMEM. Undone by btf_destroy().
 */
int btf_init(struct btf *btf, const void *bytes, size_t size);
void btf_destroy(struct btf *btf);

/** btf_struct_size() - bytes of `struct NAME`. Return: the size, -ENOENT. */
int btf_struct_size(const struct btf *btf, const char *name);

/**
 * btf_find_member() - where MEMBER lies in `struct NAME`, members of anonymous structs and unions inside it included.
 * Return: 0; -ENOENT when there is none, @ret is untouched then.
 */
int btf_find_member(const struct btf *btf, const char *name, const char *member, struct btf_member *ret);

/** btf_find_enumerator() - the value of an enumeration constant. Return: 0; -ENOENT, @ret untouched. */
int btf_find_enumerator(const struct btf *btf, const char *name, s32 *ret);

#endif
