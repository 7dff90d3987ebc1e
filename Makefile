SHELL := bash
HOST = eval "$$(bash scripts/host.sh)"; export COMFYUI_DIR COMFYUI_PYTHON; unset PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-all test unit
demo:                ## the shipped clip and photo through a real ComfyUI: output/demo/
	$(HOST); "$$COMFYUI_PYTHON" -m demo.run

demo-all:            ## every shipped case beside the baselines
	$(HOST); "$$COMFYUI_PYTHON" -m demo.run --all --out output/demo-all

unit:                ## the fast tests alone
	$(HOST); "$$COMFYUI_PYTHON" -m pytest tests -m "not host and not browser"

test:                ## every test, with a real ComfyUI server and its real page in Chromium
	$(HOST); bash scripts/chromium.sh && export OMP_NUM_THREADS=1 && "$$COMFYUI_PYTHON" -m pytest tests
