"""Parts that several operators of ai.onnx.ml share: features, labels, scores and trees."""
