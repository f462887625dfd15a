# wan.cpp: one-line commands. `make help` lists them; CMake does the work.
BUILD ?= build
JOBS ?= $(shell nproc)
IMAGE ?=
AUDIO ?=
PROMPT ?= $(if $(AUDIO),A face talks.,a red circle moves right on a blue background)
SEED ?= 42
SAVE_FILE ?= demo.mp4
PREFIX ?= /usr/local
# CUDA=1: with the CUDA backend, for the GPU architectures of CUDA_ARCHITECTURES ("86;90a"; CMake's list where it is empty).
CUDA ?= 0
CUDA_ARCHITECTURES ?=
CUDA_OPTIONS = -DWAN_WITH_CUDA=ON $(if $(CUDA_ARCHITECTURES),-DWAN_CUDA_ARCHITECTURES="$(CUDA_ARCHITECTURES)")
CMAKE_OPTIONS += $(if $(filter 1,$(CUDA)),$(CUDA_OPTIONS))
# What there is decides the task: a video of someone who moves, or the folder of one that is preprocessed (in whose scene the character
# stands where REPLACE is 1), a sound (whose face is the bundled one without IMAGE), a picture alone, or nothing.
DEMO_SPEECH = s2v-14B --ckpt_dir models/demo-s2v --audio "$$AUDIO" --image "$${IMAGE:-models/demo-s2v/face.png}"
DEMO_MOTION = i2v-A14B --ckpt_dir models/demo-i2v --image "$$IMAGE"
DEMO_POSES = --video "$$VIDEO" --image "$${IMAGE:-models/demo-animate/example/src_ref.png}" --resolution_area 128 128 --fps 16
DEMO_FOLDER = --src_root_path "$$SOURCE" $(if $(filter 1,$(REPLACE)),--replace_flag)
DEMO_ANIMATION = animate-14B --ckpt_dir models/demo-animate $(if $(VIDEO),$(DEMO_POSES),$(DEMO_FOLDER))
DEMO_PICTURED = $(if $(IMAGE),$(DEMO_MOTION),t2v-A14B --ckpt_dir models/demo)
DEMO_TASK = $(if $(VIDEO)$(SOURCE),$(DEMO_ANIMATION),$(if $(AUDIO),$(DEMO_SPEECH),$(DEMO_PICTURED)))
export AUDIO IMAGE PROMPT SEED SAVE_FILE SOURCE VIDEO

.DEFAULT_GOAL := build
.PHONY: help build demo test test-gpu install format check deps-build deps-test deps-ci configure clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

build: deps-build configure ## Build the wan program
	@cmake --build $(BUILD) --target wan -j $(JOBS)

demo: build ## Make a video with a bundled demo checkpoint: make demo PROMPT="..." [IMAGE=a.png] [AUDIO=a.wav] [VIDEO=a.mp4 | SOURCE=folder [REPLACE=1]] [SEED=1] [SAVE_FILE=demo.mp4]
	@$(BUILD)/apps/cli/wan generate --task $(DEMO_TASK) --prompt "$$PROMPT" --base_seed "$$SEED" --save_file "$$SAVE_FILE"

test: deps-test configure ## Build and run every test that needs no GPU
	@cmake -DWAN_BUILD_TESTS=ON $(BUILD) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)
	@# One more than there are processors: of what ranks do when another is gone, and of downloads, most is waiting.
	@ctest --test-dir $(BUILD) --output-on-failure -j $$(($(JOBS) + 1))

test-gpu: deps-test configure ## Build and run the tests that need a GPU; fails where there is none
	@cmake -DWAN_BUILD_TESTS=ON $(CUDA_OPTIONS) $(BUILD) >/dev/null
	@cmake --build $(BUILD) --target gpu_tests -j $(JOBS)
	@WAN_REQUIRE_GPU=1 ctest --test-dir $(BUILD) -L gpu --output-on-failure

install: build ## Install program, library and headers below PREFIX (/usr/local)
	@cmake --build $(BUILD) -j $(JOBS)
	@cmake --install $(BUILD) --prefix $(PREFIX)

format: ## Format all C++ files
	@git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format -i

check: deps-ci ## Formatting, lint, include direction, sanitizers, fuzzing: what CI adds to the tests
	@tools/checks/run_all.sh

deps-build:
	@tools/setup/install_dependencies.sh build
deps-test:
	@tools/setup/install_dependencies.sh test
deps-ci:
	@tools/setup/install_dependencies.sh ci

configure: $(BUILD)/build.ninja
$(BUILD)/build.ninja:
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DWAN_BUILD_TESTS=OFF $(CMAKE_OPTIONS) >/dev/null

clean: ## Remove the build folder
	@rm -rf $(BUILD)
