SHELL := bash
HOST = eval "$$(bash scripts/host.sh)"; export COMFYUI_DIR COMFYUI_PYTHON; unset PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-all pictures check test unit host workflows thumbnails instruct-picture
demo:                ## the shipped clip and photo through a real ComfyUI: output/demo/
	$(HOST); "$$COMFYUI_PYTHON" -m demo.run

demo-all:            ## every shipped case beside the baselines
	$(HOST); "$$COMFYUI_PYTHON" -m demo.run --all --out output/demo-all

pictures: demo demo-all    ## the README's moving picture and the gallery of the report, of what both of these made
	$(HOST); cp output/demo/demo.webp docs/demo.webp && "$$COMFYUI_PYTHON" -m demo.show output/demo-all bench/pictures/shipped.jpg

check:               ## format, lint, types, sizes
	$(HOST); "$$COMFYUI_PYTHON" -m ruff format --check && "$$COMFYUI_PYTHON" -m ruff check && \
	  "$$COMFYUI_PYTHON" -m mypy && "$$COMFYUI_PYTHON" scripts/check_sizes.py

unit:                ## the fast tests alone, on every core
	$(HOST); export OMP_NUM_THREADS=1 && "$$COMFYUI_PYTHON" -m pytest tests -m "not host and not browser" -n auto

host:                ## those with a real ComfyUI server and its real page in Chromium, file by file on two servers
	$(HOST); bash scripts/chromium.sh && export OMP_NUM_THREADS=1 && "$$COMFYUI_PYTHON" -m pytest tests -m "host or browser" -n 2 --dist loadfile

test: check unit host    ## and every test

workflows:           ## workflows/api laid out on the real page: workflows/*.json; blueprints of them: subgraphs/*.json
	$(HOST); bash scripts/chromium.sh && "$$COMFYUI_PYTHON" scripts/make_workflows.py && \
	  "$$COMFYUI_PYTHON" scripts/make_blueprints.py

instruct-picture:    ## README's picture of edits by instruction: docs/instruct.jpg
	$(HOST); "$$COMFYUI_PYTHON" -m bench.quality.pictured docs/instruct.jpg

thumbnails:          ## every workflow run as it ships, for its picture in Templates: workflows/*.jpg
	$(HOST); "$$COMFYUI_PYTHON" scripts/make_thumbnails.py
