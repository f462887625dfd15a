// copy, patchify, unpatchify, upsample_nearest_2x, max_pool_2x2 and embedding: exact, so the tolerance is 0.

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "ops/copy.h"
#include "ops/embedding.h"
#include "ops/fill_zero.h"
#include "ops/max_pool_2x2.h"
#include "ops/patchify.h"
#include "ops/upsample.h"
#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::data_movement_test {
namespace {

constexpr DType kTypes[] = {DType::kF32, DType::kBF16};

TEST(Copy, MatchesTheCompositeOverOrdersAndLayouts) {
  OpContext ops;
  constexpr std::array<int, 4> kOrders[] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {3, 0, 1, 2}, {1, 2, 3, 0},
                                            {3, 2, 1, 0}, {0, 1, 3, 2}, {2, 0, 3, 1}};
  for (const Shape& shape : {Shape{2, 3, 5, 7}, Shape{1, 17, 33, 2}, Shape{20, 1, 50, 60}})
    for (const auto& [a, b, c, d] : kOrders)
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner}) {
        const Guarded from = random_tensor(DType::kF32, shape, 1, layout);
        const TensorView turned = from.view().permute({a, b, c, d});
        const Guarded out(DType::kF32, turned.shape(), layout);
        copy(ops.ctx, {turned, out});
        EXPECT_TRUE(all_close(out, turned, 0.0)) << turned.shape().to_string();
        EXPECT_TRUE(out.intact());
        const Guarded back(DType::kF32, shape, layout);  // permuted on the writing side
        copy(ops.ctx, {turned, back.view().permute({a, b, c, d})});
        EXPECT_TRUE(all_close(back, from, 0.0));
        EXPECT_TRUE(back.intact());
      }
}

TEST(Copy, RepeatsAndTurnsLargerViews) {
  OpContext ops;
  const Guarded row = random_tensor(DType::kF32, {48}, 1);
  const TensorView repeated(row.view().data(), DType::kF32, {7, 48}, {0, 1}, Device{});
  const Guarded rows(DType::kF32, {7, 48}, Layout::kPaddedRows);
  copy(ops.ctx, {repeated, rows});
  EXPECT_TRUE(all_close(rows, repeated, 0.0));
  EXPECT_TRUE(rows.intact());
  const Guarded narrow(DType::kBF16, {7, 48});
  copy(ops.ctx, {repeated, narrow});
  EXPECT_TRUE(all_close(narrow, repeated, 0.00390625));
  // Sixteen-byte rows at addresses that are not.
  const Guarded from = random_tensor(DType::kBF16, {9, 40}, 2);
  const Guarded out(DType::kBF16, {9, 40});
  for (const std::int64_t skip : {1, 3, 8}) {
    copy(ops.ctx, {from.view().slice(1, skip, 40), out.view().slice(1, 0, 40 - skip)});
    EXPECT_TRUE(all_close(out.view().slice(1, 0, 40 - skip), from.view().slice(1, skip, 40), 0.0));
  }
  // Rows of whole packs from one element off, and to one element off.
  copy(ops.ctx, {from.view().slice(1, 1, 33), out.view().slice(1, 0, 32)});
  EXPECT_TRUE(all_close(out.view().slice(1, 0, 32), from.view().slice(1, 1, 33), 0.0));
  copy(ops.ctx, {from.view().slice(1, 0, 32), out.view().slice(1, 1, 33)});
  EXPECT_TRUE(all_close(out.view().slice(1, 1, 33), from.view().slice(1, 0, 32), 0.0));
  EXPECT_TRUE(out.intact());
}

TEST(Copy, ViewsBackwardsAndOverThemselves) {
  OpContext ops;
  ops.ctx.require_fused = ops.traits().has_every_kernel;  // conversions of rows backwards are the composite's
  for (const DType to_type : {DType::kF32, DType::kBF16}) {
    const Guarded from = random_tensor(DType::kF32, {5, 6, 40}, 1);
    const Tensor rounded(to_type, from.view().shape());
    reference(CopyArgs{from, rounded});
    for (int dim = 0; dim < 3; ++dim) {
      const Guarded out(to_type, {5, 6, 40}, Layout::kPaddedRows);
      copy(ops.ctx, {from.view().flip(dim), out});
      EXPECT_TRUE(out.intact());
      for (std::int64_t i = 0; i < 5; ++i)
        for (std::int64_t j = 0; j < 6; ++j)
          for (std::int64_t k = 0; k < 40; ++k)
            ASSERT_EQ(
                load_element(out, {i, j, k}),
                load_element(rounded, {dim == 0 ? 4 - i : i, dim == 1 ? 5 - j : j, dim == 2 ? 39 - k : k}))
                << dim;
    }
  }
  // As relative positions are: [heads, queries, keys] of rows by key minus query.
  const Guarded rows = random_tensor(DType::kF32, {2 * 33 - 1, 3}, 2);
  const TensorView pairs =
      TensorView(rows.view().data(), DType::kF32, {3, 33, 33}, {1, 3, 3}, Device{}).flip(1);
  const Guarded out(DType::kF32, {3, 33, 33});
  copy(ops.ctx, {pairs, out});
  for (std::int64_t head = 0; head < 3; ++head)
    for (std::int64_t query = 0; query < 33; ++query)
      for (std::int64_t key = 0; key < 33; ++key)
        ASSERT_EQ(load_element(out, {head, query, key}), load_element(rows, {key - query + 32, head}));
}

TEST(FillZero, ZeroesTheViewAndNothingElse) {
  OpContext ops;
  for (const Shape& shape :
       {Shape{1}, Shape{33}, Shape{5, 7}, Shape{2, 3, 16}, Shape{2, 5, 4, 24}, Shape{3, 0}})
    for (const DType type : {DType::kF32, DType::kBF16, DType::kU8})
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner}) {
        const Guarded view(type, shape, layout);
        fill_zero(ops.ctx, view);
        EXPECT_TRUE(view.intact());
        const Tensor copied(type, shape);
        reference(CopyArgs{view, copied});
        for (std::size_t i = 0; i < copied.bytes(); ++i)
          ASSERT_EQ(copied.view().data()[i], std::byte{0}) << shape.to_string();
      }
}

TEST(Copy, CopiesEveryDtypeByteForByte) {
  OpContext ops;
  for (const DType type : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64, DType::kI32,
                           DType::kU8, DType::kBool}) {
    const Tensor from(type, {5, 9});
    for (std::size_t i = 0; i < from.bytes(); ++i)
      from.view().data()[i] = static_cast<std::byte>(i * 37 + 11);
    const Guarded turned(type, {9, 5});
    copy(ops.ctx, {from.view().permute({1, 0}), turned});
    EXPECT_TRUE(turned.intact());
    const Tensor back(type, {5, 9});
    copy(ops.ctx, {turned.view().permute({1, 0}), back});
    EXPECT_EQ(std::memcmp(back.view().data(), from.view().data(), from.bytes()), 0) << dtype_name(type);
  }
}

TEST(Copy, ConvertsAsTheCompositeDoes) {
  OpContext ops;
  ops.ctx.require_fused =
      ops.traits().has_every_kernel;  // f16, and conversions that turn dimensions, are the composite's
  const DType types[] = {DType::kF32, DType::kBF16, DType::kF16};
  for (const DType from_type : types)
    for (const DType to_type : types)
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedInner}) {
        const Guarded from = random_tensor(from_type, {3, 4, 37}, 1, layout);
        const Guarded out(to_type, {3, 4, 37}, layout);
        const Guarded expected(to_type, {3, 4, 37});
        copy(ops.ctx, {from, out});
        reference(CopyArgs{from, expected});
        EXPECT_TRUE(all_close(out, expected, 0.0)) << dtype_name(from_type) << " to " << dtype_name(to_type);
        EXPECT_TRUE(out.intact());
        const Guarded turned(to_type, {37, 4, 3});
        copy(ops.ctx, {from.view().permute({2, 1, 0}), turned});
        EXPECT_TRUE(all_close(turned.view().permute({2, 1, 0}), expected, 0.0));
      }
}

TEST(Copy, ScalarsEmptyViewsAndErrors) {
  OpContext ops;
  const Guarded one = random_tensor(DType::kF32, {1}, 1);
  const Guarded out(DType::kF32, {1});
  copy(ops.ctx, {one.view().select(0, 0), out.view().select(0, 0)});
  EXPECT_TRUE(all_close(out, one, 0.0));
  const Guarded none(DType::kF32, {3, 0});
  EXPECT_NO_THROW(copy(ops.ctx, {none, Guarded(DType::kF32, {3, 0})}));
  EXPECT_THROW(copy(ops.ctx, {one, Guarded(DType::kI32, {1})}), Error);
  EXPECT_THROW(copy(ops.ctx, {one, Guarded(DType::kF32, {2})}), Error);
  EXPECT_THROW(copy(ops.ctx, {{}, out}), Error);
}

struct Patching {
  Shape latent;
  PatchSize patch;
};

const Patching kPatchings[] = {
    {{16, 3, 4, 6}, {1, 2, 2}}, {{3, 4, 6, 9}, {2, 3, 3}}, {{16, 5, 16, 16}, {1, 2, 2}}};

TEST(Patchify, MatchesTheCompositeForAnyRangeOfTokens) {
  OpContext ops;
  for (const Patching& p : kPatchings)
    for (const DType type : kTypes)
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows}) {
        const Guarded latent = random_tensor(DType::kF32, p.latent, 1);
        const std::int64_t volume = p.patch[0] * p.patch[1] * p.patch[2];
        const std::int64_t tokens = latent.view().elements() / p.latent[0] / volume;
        for (const auto& [first, count] :
             {std::pair<std::int64_t, std::int64_t>{0, tokens}, {2, tokens - 3}, {tokens - 1, 1}}) {
          const Guarded out(type, {count, p.latent[0] * volume}, layout);
          const Guarded expected(type, out.view().shape());
          patchify(ops.ctx, {latent, p.patch, first, out});
          reference(PatchifyArgs{latent, p.patch, first, expected});
          EXPECT_TRUE(all_close(out, expected, 0.0));
          EXPECT_TRUE(out.intact());
        }
      }
}

TEST(Unpatchify, MatchesTheCompositeAndLeavesOtherTokensAlone) {
  OpContext ops;
  for (const Patching& p : kPatchings)
    for (const DType type : kTypes)
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows}) {
        const std::int64_t volume = p.patch[0] * p.patch[1] * p.patch[2];
        const std::int64_t tokens = p.latent.elements() / p.latent[0] / volume;
        for (const auto& [first, count] :
             {std::pair<std::int64_t, std::int64_t>{0, tokens}, {2, tokens - 3}, {tokens - 1, 1}}) {
          const Guarded from = random_tensor(type, {count, p.latent[0] * volume}, 2, layout);
          const Guarded latent = random_tensor(DType::kF32, p.latent, 3);
          const Guarded expected = random_tensor(DType::kF32, p.latent, 3);
          unpatchify(ops.ctx, {from, p.patch, first, latent});
          reference(UnpatchifyArgs{from, p.patch, first, expected});
          EXPECT_TRUE(all_close(latent, expected, 0.0));
          EXPECT_TRUE(latent.intact());
        }
      }
}

TEST(Patchify, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded latent = random_tensor(DType::kF32, {2, 2, 4, 4}, 1);
  const Guarded tokens(DType::kF32, {8, 8});
  EXPECT_NO_THROW(patchify(ops.ctx, {latent, {1, 2, 2}, 0, tokens}));
  EXPECT_THROW(patchify(ops.ctx, {latent, {1, 3, 2}, 0, tokens}), Error);
  EXPECT_THROW(patchify(ops.ctx, {latent, {1, 2, 2}, 1, tokens}), Error);
  EXPECT_THROW(patchify(ops.ctx, {latent, {1, 2, 2}, -1, tokens}), Error);
  EXPECT_THROW(unpatchify(ops.ctx, {Guarded(DType::kF32, {8, 7}), {1, 2, 2}, 0, latent}), Error);
  EXPECT_THROW(unpatchify(ops.ctx, {tokens, {1, 2, 2}, 0, Guarded(DType::kBF16, {2, 2, 4, 4})}), Error);
}

TEST(MaxPool2x2, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{3, 8, 10, 32}, Shape{1, 2, 2, 1500}})
    for (const DType type : kTypes) {
      const Guarded x = random_tensor(type, {shape[0], 2 * shape[1], 2 * shape[2], shape[3]}, 1);
      const Guarded out(type, shape);
      const Guarded expected(type, shape);
      max_pool_2x2(ops.ctx, {x, out});
      reference(MaxPool2x2Args{x, expected});
      EXPECT_TRUE(all_close(out, expected, 0.0)) << shape.to_string();
      EXPECT_TRUE(out.intact());
    }
  const Guarded x(DType::kF32, {1, 4, 4, 3});
  EXPECT_THROW(max_pool_2x2(ops.ctx, {x, Guarded(DType::kF32, {1, 2, 1, 3})}), Error);
  EXPECT_THROW(max_pool_2x2(ops.ctx, {x, Guarded(DType::kBF16, {1, 2, 2, 3})}), Error);
  EXPECT_THROW(max_pool_2x2(ops.ctx, {x, Guarded(DType::kF32, {1, 2, 2, 3}, Layout::kPaddedInner)}), Error);
}

TEST(MaxPool2x2, KeepsNanWhereverItIs) {
  OpContext ops;
  for (int place = 0; place < 4; ++place) {
    const Guarded x = random_tensor(DType::kF32, {1, 2, 2, 1}, 1);
    x.view().as<float>()[place] = std::numeric_limits<float>::quiet_NaN();
    const Guarded out(DType::kF32, {1, 1, 1, 1});
    max_pool_2x2(ops.ctx, {x, out});
    EXPECT_TRUE(std::isnan(out.view().as<float>()[0])) << place;
    reference(MaxPool2x2Args{x, out});
    EXPECT_TRUE(std::isnan(out.view().as<float>()[0])) << place;
  }
}

TEST(Upsample, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{3, 16, 20, 32}})
    for (const DType type : kTypes) {
      const Guarded x = random_tensor(type, shape, 1);
      const Shape doubled{shape[0], 2 * shape[1], 2 * shape[2], shape[3]};
      const Guarded out(type, doubled);
      const Guarded expected(type, doubled);
      upsample_nearest_2x(ops.ctx, {x, out});
      reference(UpsampleArgs{x, expected});
      EXPECT_TRUE(all_close(out, expected, 0.0));
      EXPECT_TRUE(out.intact());
    }
  const Guarded x(DType::kF32, {1, 2, 2, 3});
  EXPECT_THROW(upsample_nearest_2x(ops.ctx, {x, Guarded(DType::kF32, {1, 4, 2, 3})}), Error);
  EXPECT_THROW(upsample_nearest_2x(ops.ctx, {x, Guarded(DType::kF32, {1, 4, 4, 3}, Layout::kPaddedInner)}),
               Error);
  EXPECT_THROW(upsample_nearest_2x(ops.ctx, {x, Guarded(DType::kBF16, {1, 4, 4, 3})}), Error);
}

TEST(Upsample, WritesInsideOfLongerRows) {
  OpContext ops;
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{3, 16, 20, 32}})
    for (const DType type : kTypes) {
      const Guarded x = random_tensor(type, shape, 1);
      const Shape larger{shape[0], 2 * shape[1] + 3, 2 * shape[2] + 2, shape[3]};
      const Guarded whole = random_tensor(type, larger, 2);
      const Guarded expected = random_tensor(type, larger, 2);
      const auto inside = [&](const TensorView& view) {
        return view.slice(1, 1, 2 * shape[1] + 1).slice(2, 1, 2 * shape[2] + 1);
      };
      upsample_nearest_2x(ops.ctx, {x, inside(whole)});
      reference(UpsampleArgs{x, inside(expected)});
      EXPECT_TRUE(all_close(whole, expected, 0.0));
    }
}

TEST(Embedding, MatchesTheComposite) {
  OpContext ops;
  const std::vector<std::int64_t> ids{0, 12, 3, 3, 11, 0, 7};
  const auto count = static_cast<std::int64_t>(ids.size());
  for (const DType table_type : kTypes)
    for (const DType out_type : kTypes)
      for (const std::int64_t width : {1, 16, 37}) {
        const Guarded table = random_tensor(table_type, {13, width}, 1);
        const Guarded out(out_type, {count, width});
        const Guarded expected(out_type, {count, width});
        embedding(ops.ctx, {table, ids, out});
        reference(EmbeddingArgs{table, ids, expected});
        EXPECT_TRUE(all_close(out, expected, 0.0));
        EXPECT_TRUE(out.intact());
      }
}

TEST(Embedding, TakesAsManyIdsAsAText) {
  OpContext ops;
  std::vector<std::int64_t> ids(600);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i * 7 % 13);
  const Guarded table = random_tensor(DType::kBF16, {13, 24}, 1);
  const Guarded out(DType::kF32, {600, 24});
  const Guarded expected(DType::kF32, {600, 24});
  embedding(ops.ctx, {table, ids, out});
  reference(EmbeddingArgs{table, ids, expected});
  EXPECT_TRUE(all_close(out, expected, 0.0));
  EXPECT_TRUE(out.intact());
}

TEST(Embedding, RefusesIdsOutsideTheTable) {
  OpContext ops;
  const Guarded table = random_tensor(DType::kF32, {13, 4}, 1);
  const Guarded out(DType::kF32, {1, 4});
  for (const std::int64_t id : {std::int64_t{-1}, std::int64_t{13}, std::int64_t{1} << 40}) {
    const std::vector<std::int64_t> ids{id};
    try {
      embedding(ops.ctx, {table, ids, out});
      ADD_FAILURE() << id << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    }
  }
}

}  // namespace
}  // namespace wan::test::data_movement_test
