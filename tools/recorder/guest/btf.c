/* SPDX-License-Identifier: MIT */
/*
 * Looking things up in BTF. One pass over the types numbers them and checks that each lies inside its section; after that
 * every look-up is a plain search, for there are few.
 */
#include "btf.h"

#include <stdlib.h>
#include <string.h>

#define BTF_MAGIC 0xeb9f

enum btf_kind {
	BTF_INT = 1,
	BTF_PTR,
	BTF_ARRAY,
	BTF_STRUCT,
	BTF_UNION,
	BTF_ENUM,
	BTF_FWD,
	BTF_TYPEDEF,
	BTF_VOLATILE,
	BTF_CONST,
	BTF_RESTRICT,
	BTF_FUNC,
	BTF_FUNC_PROTO,
	BTF_VAR,
	BTF_DATASEC,
	BTF_FLOAT,
	BTF_DECL_TAG,
	BTF_TYPE_TAG,
	BTF_ENUM64,
	BTF_KINDS,
};

/* Bytes behind the three words of a type: so many for each of its members, and so many once. */
static const struct {
	u8 each, once;
} extra[BTF_KINDS] = {
	[BTF_INT] = { 0, 4 },      [BTF_ARRAY] = { 0, 12 },     [BTF_STRUCT] = { 12, 0 }, [BTF_UNION] = { 12, 0 },
	[BTF_ENUM] = { 8, 0 },     [BTF_FUNC_PROTO] = { 8, 0 }, [BTF_VAR] = { 0, 4 },     [BTF_DATASEC] = { 12, 0 },
	[BTF_DECL_TAG] = { 0, 4 }, [BTF_ENUM64] = { 12, 0 },
};

struct type {
	u32 name, info, size; /* size: or the number of another type */
};

static u32 word_at(const u8 *at)
{
	u32 word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static struct type type_at(const u8 *at)
{
	return (struct type){ word_at(at), word_at(at + 4), word_at(at + 8) };
}

static unsigned int kind_of(const struct type *type)
{
	return type->info >> 24 & 31;
}

static u32 count_of(const struct type *type)
{
	return type->info & 0xffff;
}

static size_t length_of(const struct type *type)
{
	unsigned int kind = kind_of(type);

	return 12 + extra[kind].once + (size_t)extra[kind].each * count_of(type);
}

static bool named(const struct btf *btf, u32 name, const char *wanted)
{
	return name < btf->strings_size && !strcmp(btf->strings + name, wanted);
}

/* Walks over all types. Return: how many, or -EINVAL. @offset may be NULL. */
static int number_types(const struct btf *btf, u32 *offset)
{
	u32 at = 0;
	int n = 0;

	while (at < btf->types_size) {
		struct type type;

		if (btf->types_size - at < 12)
			return -EINVAL;
		type = type_at(btf->types + at);
		if (!kind_of(&type) || kind_of(&type) >= BTF_KINDS || length_of(&type) > btf->types_size - at)
			return -EINVAL;
		n++;
		if (offset)
			offset[n] = at;
		at += (u32)length_of(&type);
	}
	return n;
}

int btf_init(struct btf *btf, const void *bytes, size_t size)
{
	const u8 *b = bytes;
	u32 header, types, strings;
	u16 magic;
	int n;

	memset(btf, 0, sizeof(*btf));
	if (size < 24)
		return -EINVAL;
	memcpy(&magic, b, sizeof(magic));
	header = word_at(b + 4);
	types = word_at(b + 8);
	btf->types_size = word_at(b + 12);
	strings = word_at(b + 16);
	btf->strings_size = word_at(b + 20);
	if (magic != BTF_MAGIC || header < 24 || header > size || types > size - header ||
	    btf->types_size > size - header - types || strings > size - header ||
	    btf->strings_size > size - header - strings || !btf->strings_size)
		return -EINVAL;
	btf->types = b + header + types;
	btf->strings = (const char *)b + header + strings;
	if (btf->strings[btf->strings_size - 1])
		return -EINVAL;
	n = number_types(btf, NULL);
	if (n < 0)
		return n;
	btf->offset = calloc((size_t)n + 1, sizeof(*btf->offset));
	if (!btf->offset)
		return -ENOMEM;
	btf->nr_types = (u32)n;
	number_types(btf, btf->offset);
	return 0;
}

void btf_destroy(struct btf *btf)
{
	free(btf->offset);
	btf->offset = NULL;
}

static bool get_type(const struct btf *btf, u32 id, struct type *ret)
{
	if (!id || id > btf->nr_types)
		return false;
	*ret = type_at(btf->types + btf->offset[id]);
	return true;
}

/* The number of `struct NAME`, the one with members if a bare declaration stands beside it; 0 = there is none. */
static u32 find_struct(const struct btf *btf, const char *name)
{
	struct type type;

	for (u32 id = 1; get_type(btf, id, &type); id++)
		if (kind_of(&type) == BTF_STRUCT && named(btf, type.name, name))
			return id;
	return 0;
}

int btf_struct_size(const struct btf *btf, const char *name)
{
	struct type type;

	return get_type(btf, find_struct(btf, name), &type) ? (int)type.size : -ENOENT;
}

/* The size of a type behind its typedefs and qualifiers; 0 = none we know. */
static u32 size_of_type(const struct btf *btf, u32 id)
{
	struct type type;

	for (int depth = 0; depth < 32 && get_type(btf, id, &type); depth++) {
		switch (kind_of(&type)) {
		case BTF_INT:
		case BTF_STRUCT:
		case BTF_UNION:
		case BTF_ENUM:
		case BTF_ENUM64:
		case BTF_FLOAT:
			return type.size;
		case BTF_PTR:
			return sizeof(void *);
		case BTF_TYPEDEF:
		case BTF_VOLATILE:
		case BTF_CONST:
		case BTF_RESTRICT:
		case BTF_TYPE_TAG:
			id = type.size;
			break;
		default:
			return 0;
		}
	}
	return 0;
}

static bool find_in(const struct btf *btf, u32 id, const char *member, u32 base, int depth, struct btf_member *ret)
{
	struct type type;

	if (depth > 16 || !get_type(btf, id, &type) || (kind_of(&type) != BTF_STRUCT && kind_of(&type) != BTF_UNION))
		return false;
	for (u32 i = 0; i < count_of(&type); i++) {
		const u8 *at = btf->types + btf->offset[id] + 12 + 12 * (size_t)i;
		u32 name = word_at(at), of = word_at(at + 4), bits = word_at(at + 8);

		if (type.info >> 31)
			bits &= 0xffffff;
		if (named(btf, name, member)) {
			ret->offset = base + bits / 8;
			ret->bytes = size_of_type(btf, of);
			return true;
		}
		if (named(btf, name, "") && find_in(btf, of, member, base + bits / 8, depth + 1, ret))
			return true;
	}
	return false;
}

int btf_find_member(const struct btf *btf, const char *name, const char *member, struct btf_member *ret)
{
	return find_in(btf, find_struct(btf, name), member, 0, 0, ret) ? 0 : -ENOENT;
}

int btf_find_enumerator(const struct btf *btf, const char *name, s32 *ret)
{
	struct type type;

	for (u32 id = 1; get_type(btf, id, &type); id++) {
		if (kind_of(&type) != BTF_ENUM)
			continue;
		for (u32 i = 0; i < count_of(&type); i++) {
			const u8 *at = btf->types + btf->offset[id] + 12 + 8 * (size_t)i;

			if (!named(btf, word_at(at), name))
				continue;
			*ret = (s32)word_at(at + 4);
			return 0;
		}
	}
	return -ENOENT;
}
